package npy

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sbinet/npyio/npy"

	"checkpoint12/harness"
)

// BenchmarkRead is of files in the page cache.
func BenchmarkRead(b *testing.B) {
	for _, c := range []struct {
		name string
		n    int
	}{{"8KB", 2 << 10}, {"400KB", 100 << 10}, {"64MB", 16 << 20}} {
		path := filepath.Join(b.TempDir(), "a.npy")
		f, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := Write(f, harness.Tensor{Shape: []int{c.n}, F32: make([]float32, c.n)}); err != nil {
			b.Fatal(err)
		}
		f.Close()
		b.Run("guard/"+c.name, func(b *testing.B) {
			b.SetBytes(int64(4 * c.n))
			for b.Loop() {
				f, err := Open(path, false)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := f.Tensor(); err != nil {
					b.Fatal(err)
				}
				f.Close()
			}
		})
		b.Run("parts/"+c.name, func(b *testing.B) {
			b.SetBytes(int64(4 * c.n))
			var mem harness.Tensor
			for b.Loop() {
				f, err := Open(path, false)
				if err != nil {
					b.Fatal(err)
				}
				for i := 0; i < c.n; i += 4096 {
					if _, err := f.Part(i, min(4096, c.n-i), &mem); err != nil {
						b.Fatal(err)
					}
				}
				f.Close()
			}
		})
		b.Run("npyio/"+c.name, func(b *testing.B) {
			b.SetBytes(int64(4 * c.n))
			for b.Loop() {
				f, err := os.Open(path)
				if err != nil {
					b.Fatal(err)
				}
				var a []float32
				if err := npy.Read(f, &a); err != nil {
					b.Fatal(err)
				}
				f.Close()
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "a.npy")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	if err := Write(f, harness.Tensor{Shape: []int{1, 2, 3}, F32: make([]float32, 6)}); err != nil {
		b.Fatal(err)
	}
	f.Close()
	for b.Loop() {
		f, err := Open(path, false)
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}
