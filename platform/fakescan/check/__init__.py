"""Check: single images judged by one engine in this process, with the results that a scan would write."""
