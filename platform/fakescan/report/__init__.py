"""What a person reads after a scan: an overview in one file, and the rows beside it for a page that drills down."""
