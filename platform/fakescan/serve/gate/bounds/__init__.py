"""What one client, key or address may have of a proxy: requests, connections, memory, places."""
