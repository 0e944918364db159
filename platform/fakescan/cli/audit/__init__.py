"""Commands for what comes after a scan: review, prevalence, keep-lists, differences."""
