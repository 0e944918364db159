"""What the scan asks of Ray Data beyond its public interface: a lazy source, and several blocks from one task."""
