// Two gentler ways than NMS to merge boxes: Soft-NMS lowers scores, weighted box fusion averages boxes.
#pragma once

#include "overlaps.hpp"
#include "ranks.hpp"

namespace kernels {

struct Decay {
    bool is_gaussian;
    float iou_threshold;  // of the linear decay
    float sigma;          // of the Gaussian one
    float score_threshold;
};

// Soft-NMS (Bodla et al. 2017): takes the best box, lowers the scores of those it overlaps, and so on.
// labels (count) or null -> keep, new_scores (count), of which the first `result` are set
inline int64_t soft_nms(const float* boxes, const float* scores, const int64_t* labels, int64_t count,
                        const Decay& decay, int64_t* keep, float* new_scores) {
    constexpr float gone = -std::numeric_limits<float>::infinity();
    const Columns<float> all(boxes, count);
    std::vector<float> left(count), overlaps(count);
    for (int64_t i = 0; i < count; ++i) {
        const bool is_valid = is_finite(boxes + 4 * i) && scores[i] - scores[i] == 0;
        left[i] = is_valid && scores[i] > decay.score_threshold ? scores[i] : gone;
    }
    const float limit = decay.is_gaussian ? 0 : decay.iou_threshold;
    for (int64_t found = 0;; ++found) {
        // the first of equal ones
        const int64_t best = std::max_element(left.begin(), left.end()) - left.begin();
        if (best == count || left[best] == gone) return found;
        keep[found] = best, new_scores[found] = left[best];
        left[best] = gone;
        fill_row<Mode::iou>(all, best, all, 0.0f, overlaps.data());
        for (int64_t i = 0; i < count; ++i) {
            const float iou = overlaps[i];
            if (!(iou > limit) || left[i] == gone || (labels && labels[i] != labels[best])) continue;
            // The exponential in double: rounded to float it is the same wherever it is computed.
            left[i] *= decay.is_gaussian ? float(std::exp(-double(iou) * iou / decay.sigma)) : 1 - iou;
            if (!(left[i] > decay.score_threshold)) left[i] = gone;
        }
    }
}

// Boxes that were found to be one object: sums over them, weighted by their scores.
struct Cluster {
    int64_t label, count = 0;
    double weight = 0, sums[4] = {};
    float box[4];  // the weighted mean

    void add(const float* corners, float score) {
        ++count;
        weight += score;
        for (int i = 0; i < 4; ++i) sums[i] += double(score) * corners[i], box[i] = float(sums[i] / weight);
    }
};

// Weighted box fusion (Solovyev et al. 2021): each box, by rank, joins the cluster of its label that it
// overlaps most, if by more than the threshold, else it founds one. A cluster's score is its mean score,
// times the share of the sources that see it. labels (count) or null -> new_boxes (count, 4), new_scores,
// new_labels (count), by falling score, of which the first `result` are set
inline int64_t weighted_box_fusion(const float* boxes, const float* scores, const int64_t* labels,
                                   int64_t count, float threshold, int64_t num_sources, float* new_boxes,
                                   float* new_scores, int64_t* new_labels) {
    std::vector<Cluster> clusters;
    for (const auto& item : rank_boxes(boxes, scores, count)) {
        const float *a = boxes + 4 * int64_t(item.index), area = area_of(a[0], a[1], a[2], a[3]);
        const float score = scores[item.index];
        if (!(score > 0)) break;
        const int64_t label = labels ? labels[item.index] : 0;
        Cluster* nearest = nullptr;
        float most = threshold;
        for (Cluster& cluster : clusters) {
            if (cluster.label != label) continue;
            const float* b = cluster.box;
            const float iou = overlap<Mode::iou>(a[0], a[1], a[2], a[3], area, b[0], b[1], b[2], b[3],
                                                 area_of(b[0], b[1], b[2], b[3]), 0.0f);
            if (iou > most) most = iou, nearest = &cluster;
        }
        if (!nearest) nearest = &clusters.emplace_back(), nearest->label = label;
        nearest->add(a, score);
    }
    const auto score_of_cluster = [&](const Cluster& cluster) {
        const double share = double(std::min(cluster.count, num_sources)) / num_sources;
        return float(cluster.weight / cluster.count * share);
    };
    std::vector<Ranked<uint32_t>> ranked;
    for (const Cluster& cluster : clusters)
        ranked.push_back({rank_key(score_of_cluster(cluster)), uint32_t(ranked.size())});
    std::sort(ranked.begin(), ranked.end());
    for (size_t i = 0; i < ranked.size(); ++i) {
        const Cluster& cluster = clusters[ranked[i].index];
        std::copy_n(cluster.box, 4, new_boxes + 4 * i);
        new_scores[i] = score_of_cluster(cluster), new_labels[i] = cluster.label;
    }
    return int64_t(ranked.size());
}

}  // namespace kernels
