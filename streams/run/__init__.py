"""`calstream run`: the stages fused in one process, on files in place, into a folder of the user's."""
