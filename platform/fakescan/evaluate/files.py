"""Names of the files that an evaluation leaves in its folder."""

METRICS, IMAGES, REPORT = "metrics.json", "images.parquet", "report.html"
