"""What a vCPU and the monitor feel of overhead threads: on the vCPU's own pCPU, and on a shared one."""
