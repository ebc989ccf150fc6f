"""The report: what the stages left in a results folder, as one JSON file and one page."""
