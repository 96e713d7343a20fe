"""Reports: report.json, report.html, the table at the end, and progress while a run goes on."""
