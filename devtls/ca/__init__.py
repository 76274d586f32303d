"""The certificate authorities: what is in a certificate (`profile`) and where it is kept (`store`)."""
