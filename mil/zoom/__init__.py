"""Several zooms, made by different people: merged by place, fused, stacked late, or one guiding the other."""
