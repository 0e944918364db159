"""The start of a scan: what can be found wrong, which images it covers, and the run that it starts or goes on with."""
