"""The commands of `jsma`, one file each: they tie `data`, `nn` and `attack` together."""
