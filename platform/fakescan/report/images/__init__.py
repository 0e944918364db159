"""The images of rows, fetched again from where the scan had them."""
