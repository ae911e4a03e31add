"""Names and a warning would be run by a page that trusts them."""

HOSTILE_NAME = "<img src=x onerror=alert(1)>&\"'"
WARNED_NAME = "A&amp;B 'x'"
HOSTILE_WARNING = "</script><script>alert('warned')</script> & more"
