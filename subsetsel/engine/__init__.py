"""Who may solve a problem, and how a run goes."""
