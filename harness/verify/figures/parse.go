package figures

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// MaxSize is the size in bytes of the largest file that is read.
const MaxSize = 16 << 20

// Parse reads a file of figures. It is strict: a key that is unknown or there
// twice, a list of another length than the tokens ask for, a figure without
// source, or a tolerance without reason is an error that names the place. A
// figure passed over by a mistyped key would be a check that cannot fail.
func Parse(data []byte) (*File, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%d bytes: a file of figures has at most %d", len(data), MaxSize)
	}
	if err := noKeyTwice(json.NewDecoder(bytes.NewReader(data)), "", 0); err != nil {
		return nil, describe(data, err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	f := new(File)
	if err := d.Decode(f); err != nil {
		return nil, describe(data, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the end of the JSON")
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	return f, nil
}

// describe adds the line to an error of the decoder that knows its offset.
func describe(data []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	offset := int64(-1)
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind):
		offset = kind.Offset
	}
	if offset < 0 || offset > int64(len(data)) {
		return err
	}
	return fmt.Errorf("line %d: %w", 1+bytes.Count(data[:offset], []byte("\n")), err)
}

// deepest is how far lists and objects may be nested; the deepest figure is at 8.
const deepest = 16

// noKeyTwice walks through one JSON value. The decoder of the standard library
// lets the second of two equal keys win.
func noKeyTwice(d *json.Decoder, path string, depth int) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	if depth > deepest {
		return fmt.Errorf("%.80s: nested too deeply", path)
	}
	bracket, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	seen := map[string]bool{}
	for n := 0; d.More(); n++ {
		at := fmt.Sprintf("%s[%d]", path, n)
		if bracket == '{' {
			key, err := d.Token()
			if err != nil {
				return err
			}
			name := key.(string) // the decoder takes nothing else for a key
			if seen[name] {
				return fmt.Errorf("%s.%s: there twice", path, name)
			}
			seen[name] = true
			at = path + "." + name
		}
		if err := noKeyTwice(d, at, depth+1); err != nil {
			return err
		}
	}
	_, err = d.Token() // the closing bracket
	return err
}

// UnmarshalJSON reads [index, value].
func (p *Peak) UnmarshalJSON(data []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(data, &parts); err != nil {
		return err
	}
	if len(parts) != 2 {
		return fmt.Errorf("absmax: %.40s: want [index, value]", data)
	}
	if err := json.Unmarshal(parts[0], &p.Index); err != nil {
		return err
	}
	return json.Unmarshal(parts[1], &p.Value)
}
