"""Which criterion prunes best: real networks, masks from early to late, before and after tuning."""
