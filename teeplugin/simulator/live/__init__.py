"""The live view: a simulated node to play with by keys, drawn or told in lines."""
