"""The sections of the report: each module builds what the template needs for one of them."""
