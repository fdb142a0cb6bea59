"""The pattern-classification sync model: lag matrices of learned embeddings, classified.

A re-implementation, from its abstract, of the idea of *End-to-End Lip Synchronisation
Based on Pattern Classification* (Kim, Heo, Chung, Lee 2020), made free of a fixed clip
length.
"""
