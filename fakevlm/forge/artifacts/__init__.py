"""The artifacts themselves, by kind, and the filters and regions that they are made with."""
