package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"checkpoint12/harness/report/ci"
	"checkpoint12/model/atomicfile"
	"checkpoint12/model/regularfile"
	"checkpoint12/model/zoo"
)

// A format is one in which commands that judge write their report to the file of a flag.
type format struct {
	flag  string
	usage string // of the flag
	write func(w io.Writer, j *judgement) error
}

// judged are the formats of the reports on an engine.
var judged = []format{asJSON, asJUnit, asMarkdown, asHTML}

// asJSON alone may go to stdout.
var asJSON = format{"json", "write the report as JSON to `FILE`; - is stdout, which then has nothing else",
	func(w io.Writer, j *judgement) error { return writeJSON(w, j.report) }}

var asJUnit = format{"junit", "write the report as JUnit's XML to `FILE`, a test case a checkpoint, case and engine",
	func(w io.Writer, j *judgement) error { return ci.WriteJUnit(w, j.ci()) }}

// asMarkdown adds to what a step's summary holds already.
var asMarkdown = format{"markdown", "write the report as Markdown to `FILE`, such as $GITHUB_STEP_SUMMARY, to which it is added",
	func(w io.Writer, j *judgement) error { return ci.WriteMarkdown(w, j.ci()) }}

// reportFiles are the files of a command's flags.
type reportFiles []*reportFile

type reportFile struct {
	format
	path string // "" if none is asked for
	out  *outFile
}

// reportFlags adds a flag for each format.
func reportFlags(flags *pflag.FlagSet, formats []format) (files reportFiles) {
	for _, format := range formats {
		f := &reportFile{format: format}
		flags.StringVar(&f.path, f.flag, "", f.usage)
		files = append(files, f)
	}
	return files
}

// open makes sure, before long work begins, that the files can be written, where c reads
// nothing and each in a place of its own.
func (files reportFiles) open(c *cobra.Command, stdout io.Writer) error {
	at := map[string]string{} // the flags of the places
	for _, f := range files {
		switch {
		case f.path != "":
		case c.Flags().Changed(f.flag) && f.flag == asJSON.flag:
			return usage(c, "--%s: no file is named; - is stdout", f.flag)
		case c.Flags().Changed(f.flag):
			return usage(c, "--%s: no file is named", f.flag)
		default:
			continue
		}
		err := besideInputs(c, f.path)
		other, taken := at[realPath(f.path)]
		for _, o := range files { // by a link of its own
			if o.out != nil && !taken && o.path != "-" && sameFile(o.path, f.path) {
				other, taken = o.flag, true
			}
		}
		switch {
		case err != nil:
		case f.path == "-" && f.flag != asJSON.flag:
			err = errors.New("only --json can be stdout: name a file")
		case taken && f.path != os.DevNull:
			err = fmt.Errorf("is the file of --%s: name another", other)
		default:
			f.out, err = openFile(c.Context(), stdout, f.path)
		}
		if err == nil && f.flag == asMarkdown.flag && realPath(f.path) == realPath(os.Getenv("GITHUB_STEP_SUMMARY")) {
			err = f.out.begin(f.path)
		}
		if err != nil {
			files.discard()
			return fmt.Errorf("--%s %s: %w", f.flag, f.path, err)
		}
		at[realPath(f.path)] = f.flag
	}
	return nil
}

// takeStdout reports whether stdout has one of the files and nothing else.
func (files reportFiles) takeStdout() bool {
	return slices.ContainsFunc(files, func(f *reportFile) bool { return f.path == "-" })
}

// write writes the files, and puts them in place once all are written.
func (files reportFiles) write(j *judgement) error {
	each := func(do func(f *reportFile) error) error {
		for _, f := range files {
			if f.out == nil {
				continue
			}
			if err := do(f); err != nil {
				return fmt.Errorf("--%s %s: %w", f.flag, f.path, cause(err))
			}
		}
		return nil
	}
	if err := each(func(f *reportFile) error { return f.format.write(f.out, j) }); err != nil {
		return err
	}
	return each(func(f *reportFile) error { return f.out.commit() })
}

// discard removes the files that are not in place.
func (files reportFiles) discard() {
	for _, f := range files {
		if f.out != nil {
			f.out.discard()
		}
	}
}

// writeJSON writes v as one line of JSON, in which what is not printed is escaped.
func writeJSON(w io.Writer, v any) error {
	data, err := json.Marshal(v)
	var line []byte
	for _, r := range strings.ReplaceAll(string(data), "##[", `#\u0023[`) { // which a log's reader may obey
		if strconv.IsPrint(r) {
			line = utf8.AppendRune(line, r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			line = fmt.Appendf(line, `\u%04x`, unit)
		}
	}
	if err == nil {
		_, err = w.Write(append(line, '\n'))
	}
	return err
}

// An outFile is a file that is written whole or not at all.
type outFile struct {
	io.Writer
	commit  func() error // puts the file in place
	discard func()       // removes what was begun; after commit it does nothing
}

// maxSummary is how large a step's summary may be.
const maxSummary = 1 << 20

// begin begins the file with what stands at its path, if that is a file.
func (f *outFile) begin(path string) error {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	old, err := regularfile.Read(path, maxSummary)
	if err == nil && len(old) > 0 {
		_, err = f.Write(append(old, '\n')) // which ends a line, and a paragraph
	}
	return cause(err)
}

// besideInputs returns an error if path lies in a folder that the flags of c name.
func besideInputs(c *cobra.Command, path string) (err error) {
	if path == "" || path == "-" {
		return nil
	}
	places := []string{filepath.Join(realPath(filepath.Dir(path)), filepath.Base(path)), realPath(path)} // a link's own too
	c.Flags().VisitAll(func(f *pflag.Flag) {
		dir := f.Value.String()
		switch {
		case f.Name == "goldens" && dir == "":
			dir = nearest(goldensFolder)
		case f.Name == "model" && !isFolder(dir):
			dir, _, _ = zoo.Locate(dir)
		case !slices.Contains([]string{"golden", "goldens", "candidate", "model", "map", "bounds"}, f.Name):
			return
		}
		for _, place := range places {
			if in, e := filepath.Rel(realPath(dir), place); dir != "" && e == nil && filepath.IsLocal(in) {
				err = fmt.Errorf("is in %s, which --%s reads: name another file", dir, f.Name)
			}
		}
	})
	return err
}

// sameFile reports whether two paths lead to one file that is there.
func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// realPath returns path from the root and without links, as far as it or its folder is there.
func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	} else if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(dir, filepath.Base(path))
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return path
}

// openFile makes sure, before long work begins, that the file can be written. One that
// is there keeps its permissions, and a link leads to the new one. A pipe that nobody
// reads is an error, and one that nobody reads on is closed when ctx ends.
func openFile(ctx context.Context, stdout io.Writer, path string) (*outFile, error) {
	if path == "-" {
		return &outFile{stdout, func() error { return nil }, func() {}}, nil
	}
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		return nil, errors.New("is a folder, not a file")
	}
	if err == nil && !info.Mode().IsRegular() { // a pipe or a device
		f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		switch {
		case errors.Is(err, syscall.ENXIO):
			return nil, errors.New("is a pipe that nobody reads")
		case err != nil:
			return nil, fmt.Errorf("cannot be written: %w", cause(err))
		}
		stop := context.AfterFunc(ctx, func() { f.Close() })
		return &outFile{f, f.Close, func() { stop() }}, nil
	}
	path = realPath(path)
	if link, _ := os.Readlink(path); link == "" { // else to nowhere
		var f *atomicfile.File
		if f, err = atomicfile.Create(path); err == nil {
			if info != nil {
				f.Chmod(info.Mode().Perm())
			}
			return &outFile{f, f.Commit, f.Discard}, nil
		}
	}
	return nil, fmt.Errorf("cannot be written: %w", cause(err))
}
