"""What a run's rows say together: verdicts, scores, folders, errors, copies."""
