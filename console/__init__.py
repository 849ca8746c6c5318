"""What all commands share with the person in front of them: options, exit codes, progress, tables, records."""
