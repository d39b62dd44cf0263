"""Tasks: what is evaluated, how a sample becomes a prompt, and how an answer is graded. One module each."""
