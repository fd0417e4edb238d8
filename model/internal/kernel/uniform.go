package kernel

// golden is 2^64 over the golden ratio, splitmix64's step.
const golden = 0x9e3779b97f4a7c15

// SplitMix returns number i of splitmix64 after a state, from 0 on (Steele, Lea and Flood, "Fast
// splittable pseudorandom number generators", 2014).
func SplitMix(state uint64, i int) uint64 {
	z := state + uint64(i+1)*golden
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Uniform writes numbers first, first+1, … of splitmix64 after a state: the upper 24 bits of each,
// exactly a float32 in [-1,1), times scale and plus shift, each rounded.
func Uniform(dst []float32, state uint64, first int, scale, shift float32) {
	done := 0
	if kernels > portable && len(dst) >= 8 {
		done = len(dst) &^ 7
		uniform(&dst[0], done, state+uint64(first)*golden, scale, shift)
	}
	for i := done; i < len(dst); i++ {
		f := float32(int32(SplitMix(state, first+i)>>40)-1<<23) * (1.0 / (1 << 23))
		dst[i] = float32(f*scale) + shift // the conversion forbids the fused multiply-add of arm64
	}
}
