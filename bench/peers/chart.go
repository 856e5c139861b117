//go:build linux

package peers

import (
	"bytes"
	"cmp"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	vgdraw "gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/internaldns/internaldns/bench/harness"
)

// Colours of the bars: blue for internaldns, grey for others, darker for larger
// sets. The order is visible without colour too.
var (
	oursColours   = []color.Color{color.RGBA{0x8f, 0xc1, 0xf2, 0xff}, color.RGBA{0x2f, 0x7f, 0xd1, 0xff}, color.RGBA{0x12, 0x4a, 0x8a, 0xff}}
	othersColours = []color.Color{color.RGBA{0xd2, 0xd5, 0xda, 0xff}, color.RGBA{0x9a, 0xa0, 0xa8, 0xff}, color.RGBA{0x5c, 0x63, 0x6c, 0xff}}
	ink           = color.RGBA{0x24, 0x29, 0x2f, 0xff}
	faint         = color.RGBA{0xe3, 0xe6, 0xea, 0xff}
	paper         = color.RGBA{0xff, 0xff, 0xff, 0xff}
)

// A chart has a bar for each server and each of some series.
type chart struct {
	file, title, alt string
	// name returns what the legend calls a series, and whether it is drawn.
	name func(*Series) (string, bool)
}

var charts = []chart{
	{"results.svg", "CPU time of an answered query (echo = 1, lower is better)", "CPU time of an answered query, as a multiple of an echo's", func(s *Series) (string, bool) {
		return harness.Count(s.Machines) + " machines", strings.HasPrefix(s.Key, "udp-")
	}},
	{"forward.svg", "CPU time of a forwarded name (echo = 1, lower is better)", "CPU time of a forwarded name, as a multiple of an echo's", func(s *Series) (string, bool) {
		if s.Key == keyHits {
			return "from the cache", true
		}
		return "from upstream", s.Key == keyMisses
	}},
}

// A bar is one server in one set.
type bar struct {
	server string
	set    int // index among the sets
	ratio  float64
}

// bars returns the names of the chart's sets, the servers, the cheapest first, and
// the bars.
func (s *Scenario) bars(c chart) (sets []string, servers []string, bars []bar) {
	best := map[string]float64{}
	for i := range s.Series {
		x := &s.Series[i]
		name, ok := c.name(x)
		if !ok || len(x.of(nameEcho)) == 0 {
			continue
		}
		for _, peer := range x.started() {
			ratio := x.toEcho(peer).Median
			if math.IsNaN(ratio) {
				continue
			}
			bars = append(bars, bar{peer, len(sets), ratio})
			if _, ok := best[peer]; !ok {
				if best[peer] = ratio; peer == nameEcho {
					best[peer] = 0 // it comes first, even if a server measures below it
				}
				servers = append(servers, peer)
			}
		}
		sets = append(sets, name)
	}
	slices.SortStableFunc(servers, func(a, b string) int {
		return cmp.Compare(best[a], best[b])
	})
	return sets, servers, bars
}

// chart adds the chart to the page, if there is anything to draw.
func (s *Scenario) chart(p *harness.Page, c chart) {
	sets, servers, bars := s.bars(c)
	if len(bars) == 0 {
		return
	}
	svg, err := draw(c.title, sets, servers, bars)
	if err != nil {
		p.Say("The chart cannot be drawn: %v.\n\n", err)
		return
	}
	p.Image(c.file, c.alt, svg)
}

// draw returns the chart as an SVG.
func draw(title string, sets, servers []string, bars []bar) ([]byte, error) {
	p := plot.New()
	p.BackgroundColor = paper
	p.Title.Text = title
	p.Title.TextStyle.Font.Size = 15
	p.Title.TextStyle.Font.Variant = "Sans"
	p.Title.TextStyle.Color = ink
	p.Title.Padding = vg.Points(12)
	styleAxes(p)

	thickness := vg.Points(13)
	gap := vg.Points(2)
	band := vg.Length(len(sets))*(thickness+gap) + vg.Points(12) // of one server
	most := 1.0
	for _, b := range bars {
		most = max(most, b.ratio)
	}
	p.Add(grid())
	shown := map[string]int{} // bars of a server, to centre them in their band
	for _, b := range bars {
		shown[b.server]++
	}
	drawn := map[string]int{}
	for _, b := range bars {
		place := len(servers) - 1 - slices.Index(servers, b.server) // the first is on top
		drawing, err := plotter.NewBarChart(plotter.Values{b.ratio}, thickness)
		if err != nil {
			return nil, err
		}
		drawing.Horizontal = true
		drawing.LineStyle.Width = 0
		drawing.Color = colourOf(b, len(sets))
		drawing.XMin = float64(place)
		drawing.Offset = (vg.Length(shown[b.server]-1)/2 - vg.Length(drawn[b.server])) * (thickness + gap)
		drawn[b.server]++
		p.Add(drawing)
		if err := label(p, b, place, drawing.Offset); err != nil {
			return nil, err
		}
	}
	addLegend(p, sets)
	names := slices.Clone(servers)
	slices.Reverse(names)
	p.NominalY(names...)
	p.Y.Padding = vg.Points(10)
	p.Y.LineStyle.Width = 0
	p.Y.Tick.LineStyle.Width = 0
	p.X.Min, p.X.Max = 0, most*1.12
	p.Y.Min, p.Y.Max = -0.5, float64(len(servers))-0.5

	height := band*vg.Length(len(servers)) + vg.Points(95)
	canvas := vgsvg.New(vg.Points(760), height)
	p.Draw(vgdraw.Crop(vgdraw.New(canvas), vg.Points(14), -vg.Points(14), vg.Points(10), -vg.Points(10)))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return nil, err
	}
	// Few readers have Liberation Sans, with which the plot is measured. The letters
	// of the other fonts have the same widths.
	return bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;")), nil
}

func styleAxes(p *plot.Plot) {
	sans := func(f *font.Font, size vg.Length) {
		f.Variant, f.Size = "Sans", size
	}
	sans(&p.X.Tick.Label.Font, 11)
	sans(&p.Y.Tick.Label.Font, 13)
	sans(&p.Legend.TextStyle.Font, 11)
	p.X.Tick.Label.Color, p.Y.Tick.Label.Color, p.Legend.TextStyle.Color = ink, ink, ink
	p.X.LineStyle.Width = 0
	p.X.Tick.LineStyle.Width = 0
	p.X.Tick.Marker = wholeTicks{}
}

// wholeTicks marks every whole number, or every second or fifth if there are many.
type wholeTicks struct{}

func (wholeTicks) Ticks(lo, hi float64) []plot.Tick {
	step := 1.0
	switch {
	case hi > 40:
		step = 5
	case hi > 12:
		step = 2
	}
	var ticks []plot.Tick
	for x := math.Ceil(lo); x <= hi; x += step {
		ticks = append(ticks, plot.Tick{Value: x, Label: fmt.Sprint(x)})
	}
	return ticks
}

// grid draws a line at each marked number.
func grid() *plotter.Grid {
	g := plotter.NewGrid()
	g.Horizontal.Width = 0
	g.Vertical.Color = faint
	g.Vertical.Width = vg.Points(0.75)
	return g
}

func colourOf(b bar, sets int) color.Color {
	colours := othersColours
	if strings.HasPrefix(b.server, nameOurs) {
		colours = oursColours
	}
	if sets == 1 {
		return colours[1]
	}
	return colours[min(b.set, len(colours)-1)]
}

// label writes the ratio after the end of the bar.
func label(p *plot.Plot, b bar, place int, offset vg.Length) error {
	l, err := plotter.NewLabels(plotter.XYLabels{
		XYs:    plotter.XYs{{X: b.ratio, Y: float64(place)}},
		Labels: []string{fmt.Sprintf("%.2f", b.ratio)},
	})
	if err != nil {
		return err
	}
	l.Offset = vg.Point{X: vg.Points(4), Y: offset + vg.Points(1)}
	l.TextStyle[0].Font.Variant = "Sans"
	l.TextStyle[0].Font.Size = 10.5
	l.TextStyle[0].Color = ink
	l.TextStyle[0].YAlign = text.YCenter
	p.Add(l)
	return nil
}

// addLegend names the sets, if there are several.
func addLegend(p *plot.Plot, sets []string) {
	if len(sets) < 2 {
		return
	}
	for i, name := range sets {
		// The spaces separate name and sample for readers with a wider font.
		p.Legend.Add(name+"      ", swatch{othersColours[min(i, len(othersColours)-1)], oursColours[min(i, len(oursColours)-1)]})
	}
	p.Legend.Top = true // the cheapest servers leave room there
	p.Legend.YOffs = -vg.Points(6)
	p.Legend.XOffs = -vg.Points(4)
	p.Legend.ThumbnailWidth = vg.Points(26)
	p.Legend.Padding = vg.Points(3)
}

// swatch is a sample of the legend in two colours.
type swatch struct{ left, right color.Color }

func (s swatch) Thumbnail(c *vgdraw.Canvas) {
	middle := (c.Min.X + c.Max.X) / 2
	for _, half := range []struct {
		from, to vg.Length
		colour   color.Color
	}{{c.Min.X, middle, s.left}, {middle, c.Max.X, s.right}} {
		c.FillPolygon(half.colour, []vg.Point{
			{X: half.from, Y: c.Min.Y}, {X: half.to, Y: c.Min.Y}, {X: half.to, Y: c.Max.Y}, {X: half.from, Y: c.Max.Y},
		})
	}
}
