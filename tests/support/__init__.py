"""What tests share; a file each."""
