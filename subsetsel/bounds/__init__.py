"""What is proved: upper bounds on the size, lower bounds on the norm."""
