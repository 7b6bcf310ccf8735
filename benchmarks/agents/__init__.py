"""What agents cost the API at scale, and how soon it answers after its start with ten thousand hosts."""
