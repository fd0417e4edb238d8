package npy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// dict is the header's Python dict, all three keys of it.
type dict struct {
	descr   string
	fortran bool
	shape   []int
}

// parseDict reads the one dict a header may hold: descr, fortran_order and
// shape, each exactly once, in any order, with any blanks, with or without the
// last comma, in either quotes. Numbers are plain decimals.
func parseDict(text string) (dict, error) {
	p := &parser{rest: text}
	d, err := p.dict()
	if err != nil {
		return dict{}, err
	}
	if p.blanks(); p.rest != "" {
		return dict{}, fmt.Errorf("%s after the dict", p.here())
	}
	return d, nil
}

type parser struct{ rest string }

func (p *parser) blanks() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

// take consumes tok, after blanks, if it is next.
func (p *parser) take(tok string) bool {
	p.blanks()
	if !strings.HasPrefix(p.rest, tok) {
		return false
	}
	p.rest = p.rest[len(tok):]
	return true
}

// here quotes what is next, for an error.
func (p *parser) here() string {
	p.blanks()
	if p.rest == "" {
		return "end of header"
	}
	s := p.rest
	if len(s) > 16 {
		s = s[:16]
	}
	return strconv.Quote(s)
}

func (p *parser) want(tok string) error {
	if p.take(tok) {
		return nil
	}
	return fmt.Errorf("%s where %q is expected", p.here(), tok)
}

func (p *parser) dict() (d dict, err error) {
	if err := p.want("{"); err != nil {
		return d, err
	}
	seen := map[string]bool{}
	for !p.take("}") {
		key, err := p.str()
		if err != nil {
			return d, err
		}
		if seen[key] {
			return d, fmt.Errorf("key %q twice", key)
		}
		seen[key] = true
		if err := p.want(":"); err != nil {
			return d, err
		}
		switch key {
		case "descr":
			d.descr, err = p.descr()
		case "fortran_order":
			d.fortran, err = p.boolean()
		case "shape":
			d.shape, err = p.tuple()
		default:
			err = fmt.Errorf("unknown key %q", key)
		}
		if err != nil {
			return d, err
		}
		if p.take("}") {
			break
		}
		if err := p.want(","); err != nil {
			return d, err
		}
	}
	for _, key := range []string{"descr", "fortran_order", "shape"} {
		if !seen[key] {
			return d, fmt.Errorf("key %q is missing", key)
		}
	}
	return d, nil
}

// descr is a string; a structured dtype, a list, is "" and refused as a dtype.
func (p *parser) descr() (string, error) {
	p.blanks()
	if strings.HasPrefix(p.rest, "[") {
		return "", errors.New("a structured dtype holds no plain numbers")
	}
	return p.str()
}

func (p *parser) str() (string, error) {
	p.blanks()
	if p.rest == "" || p.rest[0] != '\'' && p.rest[0] != '"' {
		return "", fmt.Errorf("%s where a string is expected", p.here())
	}
	end := strings.IndexByte(p.rest[1:], p.rest[0])
	if end < 0 {
		return "", fmt.Errorf("string %s does not end", p.here())
	}
	s := p.rest[1 : 1+end]
	if strings.ContainsAny(s, "\\\n") {
		return "", fmt.Errorf("string %q with an escape or a newline", s)
	}
	p.rest = p.rest[end+2:]
	return s, nil
}

func (p *parser) boolean() (bool, error) {
	switch {
	case p.take("True"):
		return true, nil
	case p.take("False"):
		return false, nil
	}
	return false, fmt.Errorf("%s where True or False is expected", p.here())
}

// tuple reads (), (n,), (n, m) or (n, m,). Python's (n) is a number, no tuple.
func (p *parser) tuple() ([]int, error) {
	if err := p.want("("); err != nil {
		return nil, err
	}
	shape := []int{}
	for comma := true; !p.take(")"); {
		if !comma {
			return nil, fmt.Errorf("%s where \",\" is expected", p.here())
		}
		n, err := p.dim()
		if err != nil {
			return nil, err
		}
		if shape = append(shape, n); len(shape) > maxDims {
			return nil, fmt.Errorf("more than %d dimensions", maxDims)
		}
		comma = p.take(",")
		if !comma && len(shape) == 1 && p.take(")") {
			return nil, fmt.Errorf("shape (%d) is a number, not a tuple", n)
		}
	}
	return shape, nil
}

func (p *parser) dim() (int, error) {
	p.blanks()
	end := 0
	for end < len(p.rest) && '0' <= p.rest[end] && p.rest[end] <= '9' {
		end++
	}
	digits := p.rest[:end]
	if end == 0 || end > 1 && digits[0] == '0' {
		return 0, fmt.Errorf("%s where a dimension is expected", p.here())
	}
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0, fmt.Errorf("dimension %s is too large", digits)
	}
	p.rest = p.rest[end:]
	return n, nil
}
