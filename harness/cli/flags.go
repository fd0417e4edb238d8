package cli

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"checkpoint12/harness/internal/words"
)

// rows is a flag that is repeated, one list of token ids a time: a batch.
type rows [][]int

func (r *rows) String() string { return "" }
func (r *rows) Type() string   { return "IDS" }

// Set adds the row "1,2,3".
func (r *rows) Set(s string) error {
	var row []int
	for _, field := range strings.Split(s, ",") {
		field = strings.TrimSpace(field)
		id, err := strconv.ParseInt(field, 10, 32)
		if err != nil || id < 0 {
			return fmt.Errorf("%q is not a token id (write ids with commas between them, such as 15496,13)", field)
		}
		row = append(row, int(id))
	}
	*r = append(*r, row)
	return nil
}

// temperatures is a flag with a list of temperatures.
type temperatures []float64

func (t *temperatures) Type() string { return "LIST" }

func (t *temperatures) String() string {
	fields := make([]string, len(*t))
	for i, v := range *t {
		fields[i] = strconv.FormatFloat(v, 'g', -1, 64)
	}
	return strings.Join(fields, ",")
}

// Set replaces the list with the one in s.
func (t *temperatures) Set(s string) error {
	var list temperatures
	seen := map[float64]bool{}
	for _, field := range strings.Split(s, ",") {
		v, err := strconv.ParseFloat(strings.TrimSpace(field), 64)
		if err != nil || !(v > 0) || math.IsInf(v, 0) {
			return fmt.Errorf("%q is not a temperature above 0", field)
		}
		if seen[v] {
			return fmt.Errorf("%q is there twice", field)
		}
		seen[v] = true
		list = append(list, v)
	}
	*t = list
	return nil
}

// equalRows returns an error if the rows of a batch differ in length.
func equalRows(flag string, rows [][]int) error {
	for i, row := range rows {
		if len(row) != len(rows[0]) {
			return fmt.Errorf("%s: the rows of a batch must be of equal length, but row 1 has %s and row %d has %s",
				flag, words.Count(len(rows[0]), "token"), i+1, words.Count(len(row), "token"))
		}
	}
	return nil
}

// flagError returns the error for a flag that cannot be parsed, with the flag that
// was meant if there is one like it.
func flagError(c *cobra.Command, err error) error {
	hint := c.CommandPath() + " --help"
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := words.Nearest(unknown.GetSpecifiedName(), 2, names); near != "" {
			err = fmt.Errorf("%w; did you mean --%s?", err, near)
		}
	}
	return &hintError{lowerFirst(err), hint}
}

// noArguments refuses words that belong to no flag, since no command takes any.
func noArguments(allowed cobra.PositionalArgs) cobra.PositionalArgs {
	if allowed != nil {
		return allowed
	}
	return func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		if !c.HasParent() {
			err := fmt.Errorf("there is no command %q", args[0])
			if near := c.SuggestionsFor(args[0]); len(near) > 0 {
				return &hintError{err, c.CommandPath() + " " + near[0] + " --help"}
			}
			return &hintError{err, c.CommandPath() + " --help"}
		}
		return &hintError{fmt.Errorf("%s: unexpected argument %q", c.Name(), args[0]), c.CommandPath() + " --help"}
	}
}

// need returns the error for flags that were not given.
func need(c *cobra.Command, flags string) error {
	return &hintError{errors.New(c.Name() + ": " + flags + " is needed"), c.CommandPath() + " --help"}
}
