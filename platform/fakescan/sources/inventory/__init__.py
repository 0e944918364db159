"""S3 Inventory as a source: what a bucket holds, as Amazon writes it down once a day or once a week."""
