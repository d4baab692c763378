"""The real-time runtime: frames in, a door that opens only for properly worn masks out.

What it does, on and on (`Gate.run`):

    for frame in camera:
        detections = detector(frame)
        tracks = tracker(detections, frame.time)
        decision = policy(tracks)
        door(decision)
        screen.show(frame, tracks, decision)

The walk from a camera to the relay, one file after the other:

    gate/runtime/loop.py               the loop above, and what locks the door when a step fails
    gate/camera/camera.py              frames, each with the time at which it was taken
    gate/detector/detector_process.py  the faces in a frame, from a process of its own
    gate/decision/tracker.py           who is who from frame to frame
    gate/decision/policy.py            the rule: who may pass
    gate/door/controller.py            locks whatever the rule says while a part is out of order
    gate/door/lease.py                 the door: open for a limited time, and locked otherwise
    gate/relays/guarded_relay.py       tells the relay's own process to unlock or lock
    gate/relays/guardian.py            that process: owns the relay, and locks it when left alone

How these are put together is in `gate/runtime/doors.py` and `gate/runtime/door_run.py`; the door
is locked (`gate/runtime/entrance.py`) before camera and model are opened (`gate/runtime/parts.py`).
"""
