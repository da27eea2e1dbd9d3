//go:build !js

package bench

import (
	"context"
	"strconv"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/paging"
)

// PagingResult compares a run with half of the layers streamed with a resident one on the same device.
type PagingResult struct {
	Device          string  `json:"device"`
	Model           string  `json:"model"`
	Layers          int     `json:"layers"`
	StreamedLayers  int     `json:"streamed_layers"`
	Tokens          int     `json:"tokens"`
	ResidentSeconds float64 `json:"resident_seconds_per_step"`
	StreamedSeconds float64 `json:"streamed_seconds_per_step"`
	Ratio           float64 `json:"ratio"`
	StallMS         float64 `json:"stall_ms_per_step"`
	PageIns         int     `json:"page_ins_per_step"`
	Moved           int64   `json:"bytes_moved_per_step"` // by the plan
	Bandwidth       float64 `json:"bandwidth_gb_per_s"`   // measured, when nothing is computed
	// EstimateLow and EstimateHigh are the plan's seconds: the longer of computing and moving, if all overlaps, and their
	// sum, if nothing does.
	EstimateLow  float64 `json:"estimate_low_seconds"`
	EstimateHigh float64 `json:"estimate_high_seconds"`
	ResidentPeak int64   `json:"resident_peak_bytes"`
	StreamedPeak int64   `json:"streamed_peak_bytes"`
	SameBytes    bool    `json:"same_bytes"` // of adapter and losses

	Staged *StagedResult `json:"staged,omitempty"` // where the host maps slots: the same through staging buffers

	Start *StartResult `json:"start,omitempty"` // of a model that is a file
}

// StagedResult is a streamed run through staging buffers on a device that does without them.
type StagedResult struct {
	Seconds   float64 `json:"seconds_per_step"`
	StallMS   float64 `json:"stall_ms_per_step"`
	Bandwidth float64 `json:"bandwidth_gb_per_s"`
	Peak      int64   `json:"peak_bytes"`
}

// Paging runs the steps twice on the device, resident and with half of the layers streamed.
func Paging(ctx context.Context, dev *gpu.Device, o Synthetic, emit func(events.Event)) (*PagingResult, error) {
	layers := len(o.Model.Spec.Layers)
	if layers < 6 {
		return nil, settings.Wrong("layers", strconv.Itoa(layers), "at least 6: half are streamed, and two slots hold two of them")
	}
	bandwidth, err := paging.Bandwidth(ctx, dev, dev.Mappable)
	if err != nil {
		return nil, err
	}
	o.Decisions = &paging.Decisions{}
	resident, err := o.Run(ctx, dev, emit)
	if err != nil {
		return nil, err
	}
	o.Decisions = &paging.Decisions{Layers: layers / 2}
	streamed, err := o.Run(ctx, dev, emit)
	if err != nil {
		return nil, err
	}
	last := streamed.Steps[len(streamed.Steps)-1]
	r := &PagingResult{
		Device: dev.Info.String(), Model: o.Name, Layers: layers,
		StreamedLayers: layers / 2, Tokens: o.Settings.MaxSeqLength, ResidentSeconds: resident.Median(), StreamedSeconds: streamed.Median(),
		StallMS: last.StallMS, PageIns: last.PageIns, Moved: streamed.Plan.Traffic,
		Bandwidth: bandwidth / 1e9, ResidentPeak: resident.Steps[0].PeakDeviceBytes,
		StreamedPeak: last.PeakDeviceBytes, SameBytes: resident.Adapter == streamed.Adapter,
	}
	for i := range resident.Steps {
		r.SameBytes = r.SameBytes && resident.Steps[i].Loss == streamed.Steps[i].Loss
	}
	if dev.Mappable {
		bandwidth, err := paging.Bandwidth(ctx, dev, false)
		if err != nil {
			return nil, err
		}
		o.Staged = true
		staged, err := o.Run(ctx, dev, emit)
		if err != nil {
			return nil, err
		}
		last := staged.Steps[len(staged.Steps)-1]
		r.SameBytes = r.SameBytes && staged.Adapter == streamed.Adapter
		r.Staged = &StagedResult{Seconds: staged.Median(), StallMS: last.StallMS, Bandwidth: bandwidth / 1e9, Peak: last.PeakDeviceBytes}
	}
	moving := float64(r.Moved) / bandwidth
	r.Ratio, r.EstimateLow, r.EstimateHigh = r.StreamedSeconds/r.ResidentSeconds, max(r.ResidentSeconds, moving), r.ResidentSeconds+moving
	return r, nil
}
