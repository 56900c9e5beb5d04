"""What a station can show on its own hardware: a checklist that measures, and a signed report of it."""
