"""The settings: flags over environment over file."""
