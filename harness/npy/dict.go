package npy

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// dict is the header's Python dict, all three keys of it.
type dict struct {
	descr   string
	fortran bool
	shape   []int
}

const (
	blanks = " \t\r\n"
	space  = `[` + blanks + `]*`
	quoted = `'[^'\\\n]*'|"[^"\\\n]*"`
	value  = quoted + `|\([^()]*\)|\[.*\]|\w+`
)

// entry is a key with its value, up to the comma or the end.
var entry = regexp.MustCompile("^" + space + "(" + quoted + ")" + space + ":" + space + "(" + value + ")" + space + "(?:,|$)")

// parseDict reads the one dict a header may hold: descr, fortran_order and
// shape, each exactly once, in any order, with any blanks, with or without the
// last comma, in either quotes. Numbers are plain decimals.
func parseDict(text string) (d dict, err error) {
	text = strings.Trim(text, blanks)
	if len(text) < 2 || text[0] != '{' || text[len(text)-1] != '}' {
		return d, fmt.Errorf("%.16q is not a dict in braces", text)
	}
	seen := map[string]bool{}
	for rest := text[1 : len(text)-1]; strings.Trim(rest, blanks) != ""; {
		m := entry.FindStringSubmatch(rest)
		if m == nil {
			return d, fmt.Errorf("%.16q where a key and its value are expected", strings.TrimLeft(rest, blanks))
		}
		rest = rest[len(m[0]):]
		key, value := m[1][1:len(m[1])-1], m[2]
		if seen[key] {
			return d, fmt.Errorf("key %q twice", key)
		}
		seen[key] = true
		switch inner := value[1:max(1, len(value)-1)]; {
		case key == "descr" && value[0] == '[':
			return d, errors.New("a structured dtype holds no plain numbers")
		case key == "descr" && (value[0] == '\'' || value[0] == '"'):
			d.descr = inner
		case key == "fortran_order" && (value == "True" || value == "False"):
			d.fortran = value == "True"
		case key == "shape" && value[0] == '(':
			if d.shape, err = parseShape(inner); err != nil {
				return d, err
			}
		default:
			return d, fmt.Errorf("%s is %.40q: want descr, a string; fortran_order, True or False; and shape, a tuple",
				key, value)
		}
	}
	for _, key := range []string{"descr", "fortran_order", "shape"} {
		if !seen[key] {
			return d, fmt.Errorf("key %q is missing", key)
		}
	}
	return d, nil
}

// parseShape reads the inside of (), (n,), (n, m) or (n, m,). Python's (n) is a
// number, no tuple.
func parseShape(text string) ([]int, error) {
	dims := strings.Split(text, ",")
	if last := len(dims) - 1; strings.Trim(dims[last], blanks) == "" {
		dims = dims[:last]
	} else if last == 0 {
		return nil, fmt.Errorf("shape (%.40s) is a number, not a tuple", text)
	}
	if len(dims) > maxDims {
		return nil, fmt.Errorf("more than %d dimensions", maxDims)
	}
	shape := []int{}
	for _, dim := range dims {
		dim = strings.Trim(dim, blanks)
		n, err := strconv.Atoi(dim)
		if err != nil || n < 0 || strconv.Itoa(n) != dim {
			return nil, fmt.Errorf("%.40q is not a dimension", dim)
		}
		shape = append(shape, n)
	}
	return shape, nil
}
