"""What every room needs: errors, settings, progress, files, parallel work."""
