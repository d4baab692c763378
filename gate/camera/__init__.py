"""Where pictures come from: live cameras, streams and clips, newest picture first."""
