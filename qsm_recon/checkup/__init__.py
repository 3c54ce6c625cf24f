"""What the doctor looks at: the machine, the installation, and a reconstruction whose answer is known."""
