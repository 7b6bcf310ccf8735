"""Answers recorded from an earlier state of the code, and the tests that compare today's answers with them.

| module | does |
|---|---|
| `recording` | reads and writes the files in `recorded/`, and compares two sets of answers; knows nothing of pinfold |
| `differences` | the list of differences that are allowed, each with its reason |
| `adapter` | the one module that knows pinfold's types: from recorded questions to today's answers, as JSON |
| `still` | a hypervisor that holds still, for commands in the test's own process; part of the adapter |
| `story` | the life of a small fleet over HTTP, told through the rig of `tests.stories` |
| `families` | which questions give which answers; one function a family |
| `questions` | makes new questions, from the oracle's generator; used by `record --new-questions` alone |
| `record` | `python -m tests.replay.record`: records again, on purpose |
| `test_replay` | the comparison |
"""
