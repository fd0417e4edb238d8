package cli

import (
	"context"

	"checkpoint12/model"
)

// wait runs f and returns what it returns, or at an interrupt the context's
// error at once. Then f goes on behind, and ends with the process; so f must
// have nothing half done that a reader could take for whole.
func wait[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var zero T
		return zero, context.Cause(ctx)
	}
}

// closeUnless closes the model, unless an interrupt has left a computation
// behind that still reads its weights.
func closeUnless(ctx context.Context, m *model.Model) {
	if ctx.Err() == nil {
		m.Close()
	}
}
