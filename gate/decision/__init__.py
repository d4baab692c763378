"""From faces to a decision: the tracker and the policy, pure Python with an injected clock."""
