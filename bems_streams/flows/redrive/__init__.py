"""Dead letters sent again, safely: what would happen is told first, what did happen is told after. Start at run.py."""
