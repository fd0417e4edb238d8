package page

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// example returns a page in which every text is s.
func example(s string) *Page {
	p := new(Page)
	setAll(reflect.ValueOf(p).Elem(), s)
	p.Verdict.State = Failed
	for i := range p.Checkpoints {
		p.Checkpoints[i].Verdict = Failed
	}
	r := &p.Runs[0]
	r.Stages, r.Steps = r.Stages[:1], r.Steps[:1]
	r.Start, r.Marks = 0, "!"
	r.Layers[0].Status, r.Layers[0].Share, r.Layers[0].Error = "f", []Num{2}, []Num{1}
	return p
}

// setAll sets every text from outside that v leads to, lists being one item long.
func setAll(v reflect.Value, s string) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		setAll(v.Elem(), s)
	case reflect.Struct:
		for i := range v.NumField() {
			setAll(v.Field(i), s)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		setAll(v.Index(0), s)
	case reflect.String:
		v.SetString(s)
		switch v.Type() { // of our own making
		case reflect.TypeFor[Base64]():
			v.SetString("AAAA")
		case reflect.TypeFor[Cells]():
			v.SetString("a")
		}
	case reflect.Int:
		v.SetInt(1)
	case reflect.Bool:
		v.SetBool(true)
	}
}

// write returns the page.
func write(t rapid.TB, p *Page) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, p); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var tags = regexp.MustCompile(`(?s)<(style|script)([^>]*)>(.*?)</(?:style|script)>`)

// checkSafe fails unless a page that shows s, wherever it does, has the markup, the script
// and the style that a page with plain text has.
func checkSafe(t rapid.TB, s string) {
	t.Helper()
	if s == "" { // what is empty is left out
		return
	}
	html, plain := write(t, example(s)), write(t, example("plain"))
	for _, r := range html {
		if r != '\n' && unicode.Is(unicode.C, r) {
			t.Fatalf("%q: has %q", s, r)
		}
	}
	markup := func(html string) []string {
		return regexp.MustCompile(`<[/!a-zA-Z?][a-zA-Z0-9]*`).FindAllString(html, -1)
	}
	if got, want := markup(html), markup(plain); !reflect.DeepEqual(got, want) {
		t.Fatalf("%q: has %d tags, a plain page %d", s, len(got), len(want))
	}
	parts, want := tags.FindAllStringSubmatch(html, -1), tags.FindAllStringSubmatch(plain, -1)
	if len(parts) != 3 || parts[0][3] != want[0][3] || parts[2][3] != want[2][3] {
		t.Fatalf("%q: the script or the style is another", s)
	}
	var runs []struct{ Name string }
	if err := json.Unmarshal([]byte(parts[1][3]), &runs); err != nil || len(runs) != 1 {
		t.Fatalf("%q: its data cannot be read: %v", s, err)
	}
}

var hostile = []string{
	"</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\"'><svg/onload=alert(1)>", "<!-- <script>",
	"]]></style><style>*{display:none}", "\x00\x1b[2J\r\nPASS\u2028\u202e\ufeff\xff", "javascript:alert(1)", "{{.}} ${1} `", "\\u003c", "&lt;b&gt;",
}

func TestPageIsSafe(t *testing.T) {
	for _, s := range hostile {
		checkSafe(t, s)
	}
	rapid.Check(t, func(t *rapid.T) {
		checkSafe(t, rapid.StringOf(rapid.RuneFrom([]rune("<>/!-&\"'`=\\ {}scriptylexj\x00\x1b\n\u2028\u202e"))).Draw(t, "text"))
	})
}

// A text of any length takes little of a page.
func TestLongTexts(t *testing.T) {
	long := strings.Repeat("<b>é", 1<<18)
	if n := len(write(t, example(long))); n > 1_000_000 {
		t.Errorf("a page of %d bytes, from texts of %d", n, len(long))
	}
	p := example("plain")
	p.Runs[0].Marks = Cells(strings.Repeat("!", 4000))
	if !strings.Contains(write(t, p), string(p.Runs[0].Marks)) {
		t.Error("not all cells have their mark")
	}
	const longest = 2000
	if got := clipped(strings.Repeat("é", longest), longest); len(got) > longest+len("…") || !utf8.ValidString(got) {
		t.Errorf("clipped to %d bytes, valid: %v", len(got), utf8.ValidString(got))
	}
}

// Where many texts make a page too large they are cut to fewer characters.
func TestManyTexts(t *testing.T) {
	p := example("plain")
	for range 1000 {
		p.Notes = append(p.Notes, strings.Repeat("<b>é", 500))
	}
	if n := len(write(t, p)); n > mostBytes {
		t.Errorf("a page of %d bytes", n)
	}
}

func FuzzPage(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkSafe(t, s) })
}

// The policy names the script and the style that the page has, and nothing from elsewhere.
func TestPolicy(t *testing.T) {
	html := write(t, example("plain"))
	for i, part := range tags.FindAllStringSubmatch(html, -1) {
		sum := sha256.Sum256([]byte(part[3]))
		hash := "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
		escaped := strings.NewReplacer("+", "&#43;").Replace(hash)
		if data := strings.Contains(part[2], "application/json"); strings.Contains(html, escaped) == data {
			t.Errorf("part %d: the policy has its hash: %v", i, data)
		}
	}
	if !strings.Contains(html, `content="default-src &#39;none&#39;;`) {
		t.Error("the policy allows what it does not name")
	}
	for _, from := range []string{"src=", "href=", "url(", "http:", "@import", "fetch(", "style=", "onclick"} {
		if strings.Contains(strings.ReplaceAll(html, `"http://www.w3.org/2000/svg"`, ""), from) {
			t.Errorf("the page has %s", from)
		}
	}
}

// Without data there is a verdict, and no map.
func TestEmptyPage(t *testing.T) {
	html := write(t, &Page{Title: "x", Verdict: Verdict{State: Passed, Lines: []string{"agrees"}}})
	if !strings.Contains(html, "agrees") || strings.Contains(html, `id="map"`) {
		t.Error(html)
	}
}

func TestNum(t *testing.T) {
	for _, c := range []struct {
		n    float64
		want string
	}{
		{0, "0"}, {1, "1"}, {0.12345, "0.123"}, {1.2345e-5, "1.23e-5"}, {-1.2345e-15, "-1.23e-15"}, {123456, "1.23e5"},
		{1e20, "1e20"}, {math.NaN(), "null"}, {math.Inf(1), "1e999"}, {math.Inf(-1), "-1e999"}, {999.9, "1e3"},
	} {
		got, err := json.Marshal(Num(c.n))
		if err != nil || string(got) != c.want {
			t.Errorf("%v: %s, %v; want %s", c.n, got, err, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Float64Range(-1e300, 1e300).Draw(t, "v")
		text, err := json.Marshal(Num(v))
		var back float64
		if err == nil {
			err = json.Unmarshal(text, &back)
		}
		if err != nil || math.Abs(back-v) > 0.00501*math.Abs(v) {
			t.Fatalf("%v: %s is %v, %v", v, text, back, err)
		}
	})
}

// A larger share is never a lower level, nor in a lower bin.
func TestLevelsAscend(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Float64Min(0).Draw(t, "a"), rapid.Float64Min(0).Draw(t, "b")
		if a > b {
			a, b = b, a
		}
		if Level(a) > Level(b) || Bin(a) > Bin(b) {
			t.Fatalf("%v has level %d, bin %d, %v has %d, %d", a, Level(a), Bin(a), b, Level(b), Bin(b))
		}
		if Bin(b) >= Bins-1 || Level(b) > LevelHigh {
			t.Fatalf("%v counts as not finite", b)
		}
		if (b > 1) != (Bin(b) >= 10) && b != 1 {
			t.Fatalf("%v is in bin %d", b, Bin(b))
		}
	})
	if Level(math.NaN()) != LevelNonfinite || Bin(math.NaN()) != Bins-1 || Level(0) != LevelExact || Bin(math.Inf(1)) != Bins-2 {
		t.Error("NaN, 0 and infinity have levels of their own")
	}
}
