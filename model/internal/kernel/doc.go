// Package kernel holds the arithmetic of the forward pass: matrix products,
// layer normalisation, GELU, softmax, and the pool of goroutines they share.
//
// # Guarantees
//
// A result depends on the numbers given and on nothing else: each output value
// is the same sequence of float32 operations for any number of threads, any
// number of rows computed beside it, and in every run on the same CPU. Work is
// split between goroutines only where the split does not touch that sequence.
// Between CPUs the vector width may change the order of a dot product, so bits
// may differ there.
//
// No function allocates once a Pool has seen the sizes at hand. NaN and
// infinities propagate as in IEEE arithmetic; nothing here hides one.
//
// Lengths are the caller's duty: a slice that does not fit panics, since shapes
// were checked when the weights were read.
package kernel
