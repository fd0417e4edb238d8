package replay

import (
	"errors"
	"fmt"

	"checkpoint12/harness"
)

// tensors reads a source's tensors and keeps the latest, since each is read as
// the input of some stage and as the output of its own.
type tensors struct {
	source harness.Source
	kept   map[harness.Place]harness.Tensor
	order  []harness.Place // oldest first
	size   int             // elements kept
}

// keptElements is how many elements are kept: 256 MB of float32.
const keptElements = 64 << 20

func newTensors(s harness.Source) *tensors {
	return &tensors{source: s, kept: map[harness.Place]harness.Tensor{}}
}

// get returns the tensor of a place that the source has. The error is a readError.
func (c *tensors) get(at harness.Place) (harness.Tensor, error) {
	if t, ok := c.kept[at]; ok {
		return t, nil
	}
	t, err := c.source.Tensor(at.Step, at.Stage)
	if err != nil {
		return harness.Tensor{}, &readError{at, err}
	}
	c.kept[at], c.order, c.size = t, append(c.order, at), c.size+t.Elements()
	for len(c.order) > 1 && c.size > keptElements {
		c.size -= c.kept[c.order[0]].Elements()
		delete(c.kept, c.order[0])
		c.order = c.order[1:]
	}
	return t, nil
}

// readError is the error of a tensor that is there and cannot be read. It ends a
// replay: a verdict without the tensor would be about another dump.
type readError struct {
	at  harness.Place
	err error
}

func (e *readError) Error() string {
	return fmt.Sprintf("step %d, stage %s: %v", e.at.Step, e.at.Stage, e.err)
}
func (e *readError) Unwrap() error { return e.err }

func isReadError(err error) bool {
	read := new(readError)
	return errors.As(err, &read)
}
