"""The core: what a job, a model, a result, a setting and an error is. No input, no output."""
