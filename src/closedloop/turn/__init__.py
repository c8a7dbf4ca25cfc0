"""One turn of the loop: observe, judge, fit, register, write down, carry out."""
