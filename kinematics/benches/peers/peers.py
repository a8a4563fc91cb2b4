"""Other people's kinematics on the benchmark's targets: `peers.py TOOL JOB ANSWERS`, started by the bench.

TOOL is one of TOOLS below. JOB is a JSON file:

    {"slow_goals": how many goals the slow solvers take,
     "robots": [{"name", "urdf": path, "base", "tip", "joints": names, "lower", "upper", "velocity": per joint,
                 "tasks": ["pose" or "axis"],           # axis: position and the direction of the tip's z axis
                 "goals": [{"seed": q, "pose": [x, y, z, qx, qy, qz, qw]}],
                 "paths": [{"name", "task", "dt_s", "start": q, "poses": [pose wanted at the end of each tick]}],
                 "forward_q": [q]}]}

ANSWERS becomes {"ik": [{"solver", "robot", "task", "note", "q": [q], "micros": [µs]}],
"track": [{"solver", "robot", "path", "note", "q": [q after each tick], "micros"}],
"forward": [{"solver", "robot", "what", "ns", "last_position": for the last q}], "failed": [words]}. The bench judges the answers; nothing that a
solver says about its own success counts. Time is CPU time of the process, around one solve or tick.
"""

import functools
import importlib.metadata
import json
import pathlib
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

import numpy as np

POSITION_M = 1e-5
ROTATION_RAD = 1e-4
WARM_UP = 20


def version(package):
    return importlib.metadata.version(package)


def chain_urdf(robot):
    """The robot's URDF file with every joint off the chain fixed and without meshes, in a file beside it."""
    tree = ElementTree.parse(robot["urdf"])
    for joint in tree.getroot().findall("joint"):
        if joint.get("name") not in robot["joints"]:
            joint.set("type", "fixed")
            for tag in ("mimic", "limit", "dynamics", "safety_controller"):
                for element in joint.findall(tag):
                    joint.remove(element)
    for link in tree.getroot().findall("link"):
        for tag in ("visual", "collision"):
            for element in link.findall(tag):
                link.remove(element)
    for tag in ("transmission", "gazebo"):
        for element in tree.getroot().findall(tag):
            tree.getroot().remove(element)
    path = pathlib.Path(robot["urdf"]).with_name(robot["name"] + "_chain.urdf")
    tree.write(path)
    return str(path)


def chain_joints(robot):
    """The URDF joints from base to tip, each with its origin (xyz, rpy) and axis as lists of words."""
    root = ElementTree.parse(robot["urdf"]).getroot()
    above = {joint.find("child").get("link"): joint for joint in root.findall("joint")}
    path, link = [], robot["tip"]
    while link != robot["base"]:
        joint = above[link]
        origin, axis = joint.find("origin"), joint.find("axis")
        origin = {} if origin is None else origin.attrib
        axis = {} if axis is None else axis.attrib
        numbers = origin.get("xyz", "0 0 0"), origin.get("rpy", "0 0 0"), axis.get("xyz", "1 0 0")
        path.append((joint, *(words.split() for words in numbers)))
        link = joint.find("parent").get("link")
    return path[::-1]


def chain_rows(robot):
    """The chain as forward.cpp reads it."""
    for joint, xyz, rpy, axis in chain_joints(robot):
        kind = joint.get("type").replace("continuous", "revolute")
        yield [kind, *xyz, *rpy, *axis]


def matrix(pose):
    """4 x 4 from xyz and quaternion xyzw."""
    x, y, z, w = pose[3:]
    turned = np.eye(4)
    turned[:3, 3] = pose[:3]
    turned[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return turned


class Report:
    """Gathers answers, and runs each measurement so that one that fails leaves the others."""

    def __init__(self, job):
        self.job = job
        self.answers = {"ik": [], "track": [], "forward": [], "failed": []}

    def attempt(self, what, work):
        try:
            work()
        except Exception as error:  # a peer may raise anything; the bench prints it
            self.answers["failed"].append(f"{what}: {type(error).__name__}: {error}".splitlines()[0])

    def solve(self, solver, note, make, fast=False):
        """`make(robot, task)` gives `solve(pose, seed) -> q`, or None where the tool cannot be asked that."""
        for robot in self.job["robots"]:
            for task in robot["tasks"] if robot["goals"] else []:
                self.attempt(f"{robot['name']} {task}", lambda: self._solve(solver, note, make, fast, robot, task))

    def _solve(self, solver, note, make, fast, robot, task):
        solve = make(robot, task)
        if solve is None:
            return
        goals = [(np.array(goal["pose"]), np.array(goal["seed"])) for goal in robot["goals"]]
        goals = goals if fast else goals[: self.job["slow_goals"]]
        for pose, seed in goals[:WARM_UP]:
            solve(pose, seed)
        answers, micros = [], []
        for pose, seed in goals:
            begin = time.process_time_ns()
            q = solve(pose, seed)
            micros.append((time.process_time_ns() - begin) * 1e-3)
            answers.append([float(value) for value in q])
        self.answers["ik"].append(
            {"solver": solver, "robot": robot["name"], "task": task, "note": note, "q": answers, "micros": micros}
        )

    def track(self, solver, note, make):
        """`make(robot, task, dt_s, start)` gives `tick(target) -> q`; the target is what `prepare` made of a pose."""
        for robot in self.job["robots"]:
            for path in robot["paths"]:
                self.attempt(f"{robot['name']} {path['name']}", lambda: self._track(solver, note, make, robot, path))

    def _track(self, solver, note, make, robot, path):
        poses = [matrix(pose) for pose in path["poses"]]
        # One run to warm up, on a tracker of its own.
        tick = make(robot, path["task"], path["dt_s"], np.array(path["start"]))
        for pose in poses[:WARM_UP]:
            tick(pose)
        tick = make(robot, path["task"], path["dt_s"], np.array(path["start"]))
        answers, micros = [], []
        for pose in poses:
            begin = time.process_time_ns()
            q = tick(pose)
            micros.append((time.process_time_ns() - begin) * 1e-3)
            answers.append([float(value) for value in q])
        self.answers["track"].append(
            {"solver": solver, "robot": robot["name"], "path": path["name"], "note": note, "q": answers, "micros": micros}
        )


def with_roboticstoolbox(report):
    import roboticstoolbox

    def make(robot, task):
        if task != "pose":
            return None  # its mask counts along the axes of the base, so it cannot be asked for the tool's axis
        ets = roboticstoolbox.Robot.URDF(chain_urdf(robot)).ets(start=robot["base"], end=robot["tip"])
        ets.qlim = np.array([robot["lower"], robot["upper"]])

        def solve(pose, seed):
            return ets.ik_LM(matrix(pose), q0=seed, ilimit=30, slimit=100, tol=1e-10, joint_limits=True, k=1.0, method="chan")[0]

        return solve

    report.solve(f"roboticstoolbox {version('roboticstoolbox-python')}", "C++ LM, Chan k=1, 30 x 100, tol 1e-10", make, fast=True)


@functools.cache
def pinocchio_model(urdf):
    import pinocchio

    return pinocchio.buildModelFromUrdf(urdf)


def with_pinocchio(report):
    import pinocchio as pin

    def make(robot, task):
        model = pinocchio_model(chain_urdf(robot))
        data = model.createData()
        tip = model.getFrameId(robot["tip"])
        lower, upper = np.array(robot["lower"]), np.array(robot["upper"])
        random = np.random.default_rng(1)
        rows = slice(0, 6 if task == "pose" else 5)  # the tool's own z turn comes last

        def error_at(q, target):
            pin.framesForwardKinematics(model, data, q)
            tip_from_target = data.oMf[tip].actInv(target)
            return tip_from_target, pin.log6(tip_from_target).vector[rows]

        def solved(error):
            return np.linalg.norm(error[:3]) < POSITION_M and np.linalg.norm(error[3:]) < ROTATION_RAD

        def solve(pose, seed):
            target = pin.XYZQUATToSE3(pose)
            q = seed
            for attempt in range(51):
                if attempt > 0:
                    q = random.uniform(lower, upper)
                damping = 1e-3
                tip_from_target, error = error_at(q, target)
                for _ in range(60):
                    if solved(error):
                        return q
                    jacobian = pin.computeFrameJacobian(model, data, q, tip, pin.LOCAL)
                    jacobian = (pin.Jlog6(tip_from_target.inverse()) @ jacobian)[rows]
                    normal = jacobian.T @ jacobian
                    normal[np.diag_indices_from(normal)] += damping
                    trial = np.clip(q + np.linalg.solve(normal, jacobian.T @ error), lower, upper)
                    trial_tip_from_target, trial_error = error_at(trial, target)
                    if trial_error @ trial_error < error @ error:
                        q, tip_from_target, error = trial, trial_tip_from_target, trial_error
                        damping = max(damping * 0.1, 1e-9)
                    else:
                        damping *= 10.0
                        if damping > 1e3:
                            break
            return q

        return solve

    report.solve(f"pinocchio {version('pin')}", "Python LM and clamp, up to 50 restarts", make)


def with_pinocchio_cpp(report):
    """Compiles forward.cpp against the headers in the wheel, and runs it. The program is kept for the next run."""
    prefixes = [pathlib.Path(entry) / "cmeel.prefix" for entry in sys.path]
    prefix = next(prefix for prefix in prefixes if (prefix / "include/pinocchio").exists())
    source = pathlib.Path(__file__).with_name("forward.cpp")
    folder = pathlib.Path(report.job["robots"][0]["urdf"]).parent
    program = folder / "forward"
    command = ["g++", "-O3", "-march=native", "-std=c++17", "-DNDEBUG", str(source), "-o", str(program)]
    # More joint models than boost lists hold by default.
    command += ["-DBOOST_MPL_CFG_NO_PREPROCESSED_HEADERS", "-DBOOST_MPL_LIMIT_LIST_SIZE=30"]
    command += ["-isystem", str(prefix / "include"), "-isystem", str(prefix / "include/eigen3")]
    made_from = program.with_suffix(".made_from")
    if not program.exists() or not made_from.exists() or made_from.read_text() != f"{command} {source.read_text()}":
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError("g++: " + next((line for line in done.stderr.splitlines() if "error" in line), "failed"))
        made_from.write_text(f"{command} {source.read_text()}")
    for robot in report.job["robots"]:
        if not robot["forward_q"]:
            continue
        chain, batch = folder / (robot["name"] + "_chain.txt"), folder / (robot["name"] + "_q.txt")
        chain.write_text("\n".join(" ".join(row) for row in chain_rows(robot)))
        batch.write_text("\n".join(" ".join(repr(value) for value in q) for q in robot["forward_q"]))
        done = subprocess.run([str(program), str(chain), str(batch)], capture_output=True, text=True, check=True)
        position, *lines = done.stdout.splitlines()
        for line in lines:
            what, ns = line.rsplit(" ", 1)
            report.answers["forward"].append(
                {
                    "solver": f"pinocchio {version('pin')} C++",
                    "robot": robot["name"],
                    "what": what,
                    "ns": float(ns),
                    "last_position": [float(value) for value in position.split()[1:]],
                }
            )


def with_pink(report):
    import pink
    import pinocchio as pin
    from pink.limits import ConfigurationLimit, VelocityLimit
    from pink.tasks import FrameTask, PostureTask

    def problem(robot, task, start, limits, gain):
        model = pinocchio_model(chain_urdf(robot))
        configuration = pink.Configuration(model, model.createData(), start)
        frame = FrameTask(
            robot["tip"], position_cost=1.0, orientation_cost=1.0 if task == "pose" else [1.0, 1.0, 0.0], gain=gain
        )
        posture = PostureTask(cost=1e-3)
        posture.set_target(start)
        return configuration, frame, posture, [limit(model) for limit in limits]

    def make(robot, task):
        random = np.random.default_rng(1)
        lower, upper = np.array(robot["lower"]), np.array(robot["upper"])
        configuration, frame, _, limits = problem(
            robot, task, 0.5 * (lower + upper), [lambda model: ConfigurationLimit(model, config_limit_gain=1.0)], 1.0
        )

        def solve(pose, seed):
            frame.set_target(pin.XYZQUATToSE3(pose))
            for attempt in range(21):
                configuration.update(seed if attempt == 0 else random.uniform(lower, upper))
                for _ in range(40):
                    error = frame.compute_error(configuration)
                    turned = error[3:] if task == "pose" else error[3:5]
                    if np.linalg.norm(error[:3]) < POSITION_M and np.linalg.norm(turned) < ROTATION_RAD:
                        return configuration.q
                    velocity = pink.solve_ik(
                        configuration, [frame], 1.0, solver="daqp", damping=1e-6, limits=limits, safety_break=False
                    )
                    configuration.integrate_inplace(velocity, 1.0)
            return configuration.q

        return solve

    def make_tracker(robot, task, dt_s, start):
        configuration, frame, posture, limits = problem(
            robot, task, start, [lambda model: ConfigurationLimit(model, config_limit_gain=1.0), VelocityLimit], 1.0
        )

        def tick(target):
            frame.set_target(pin.SE3(target))
            velocity = pink.solve_ik(
                configuration, [frame, posture], dt_s, solver="daqp", limits=limits, safety_break=False
            )
            configuration.integrate_inplace(velocity, dt_s)
            return configuration.q

        return tick

    name = f"pink {version('pin-pink')}"
    report.solve(name, "daqp, up to 40 QPs x 21 starts", make)
    report.track(name, "daqp, frame 1, posture 1e-3, position and velocity limits", make_tracker)


def mjcf(robot):
    """The chain as a MuJoCo model: its own URDF reader wants meshes and inertias that do not matter here."""
    model = ElementTree.Element("mujoco")
    ElementTree.SubElement(model, "compiler", angle="radian", autolimits="true")
    body = ElementTree.SubElement(model, "worldbody")
    for joint, xyz, rpy, axis in chain_joints(robot):
        (cr, sr), (cp, sp), (cy, sy) = ((np.cos(0.5 * float(a)), np.sin(0.5 * float(a))) for a in rpy)
        quat = [
            cr * cp * cy + sr * sp * sy,
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
        ]
        name = joint.find("child").get("link")
        quat = " ".join(repr(float(value)) for value in quat)
        body = ElementTree.SubElement(body, "body", name=name, pos=" ".join(xyz), quat=quat)
        ElementTree.SubElement(body, "inertial", pos="0 0 0", mass="1", diaginertia="0.01 0.01 0.01")
        if joint.get("type") != "fixed":
            at = robot["joints"].index(joint.get("name"))
            ElementTree.SubElement(
                body,
                "joint",
                name=joint.get("name"),
                type="slide" if joint.get("type") == "prismatic" else "hinge",
                axis=" ".join(axis),
                range=f"{robot['lower'][at]!r} {robot['upper'][at]!r}",
            )
    return ElementTree.tostring(model, encoding="unicode")


def with_mink(report):
    import mink
    import mujoco

    def problem(robot, task, start):
        model = mujoco.MjModel.from_xml_string(mjcf(robot))
        configuration = mink.Configuration(model)
        configuration.update(start)
        frame = mink.FrameTask(
            robot["tip"], "body", position_cost=1.0, orientation_cost=1.0 if task == "pose" else [1.0, 1.0, 0.0]
        )
        return model, configuration, frame

    def make(robot, task):
        random = np.random.default_rng(1)
        lower, upper = np.array(robot["lower"]), np.array(robot["upper"])
        model, configuration, frame = problem(robot, task, 0.5 * (lower + upper))
        limits = [mink.ConfigurationLimit(model, gain=1.0)]

        def solve(pose, seed):
            frame.set_target(mink.SE3.from_matrix(matrix(pose)))
            for attempt in range(21):
                configuration.update(seed if attempt == 0 else random.uniform(lower, upper))
                for _ in range(40):
                    error = frame.compute_error(configuration)
                    turned = error[3:] if task == "pose" else error[3:5]
                    if np.linalg.norm(error[:3]) < POSITION_M and np.linalg.norm(turned) < ROTATION_RAD:
                        return configuration.q
                    velocity = mink.solve_ik(configuration, [frame], 1.0, "daqp", damping=1e-6, limits=limits)
                    configuration.integrate_inplace(velocity, 1.0)
            return configuration.q

        return solve

    def make_tracker(robot, task, dt_s, start):
        model, configuration, frame = problem(robot, task, start)
        posture = mink.PostureTask(model, cost=1e-3)
        posture.set_target(start)
        speed = dict(zip(robot["joints"], robot["velocity"]))
        limits = [mink.ConfigurationLimit(model, gain=1.0), mink.VelocityLimit(model, speed)]

        def tick(target):
            frame.set_target(mink.SE3.from_matrix(target))
            velocity = mink.solve_ik(configuration, [frame, posture], dt_s, "daqp", limits=limits)
            configuration.integrate_inplace(velocity, dt_s)
            return configuration.q

        return tick

    name = f"mink {version('mink')}"
    report.solve(name, "daqp, up to 40 QPs x 21 starts", make)
    report.track(name, "daqp, frame 1, posture 1e-3, position and velocity limits", make_tracker)


def with_placo(report):
    import placo

    def make_tracker(robot, task, dt_s, start):
        model = placo.RobotWrapper(chain_urdf(robot), placo.Flags.ignore_collisions)
        for joint, position in zip(robot["joints"], start):
            model.set_joint(joint, position)
            model.set_velocity_limit(joint, robot["velocity"][robot["joints"].index(joint)])
        model.update_kinematics()
        solver = placo.KinematicsSolver(model)
        solver.mask_fbase(True)
        solver.dt = dt_s
        solver.enable_joint_limits(True)
        solver.enable_velocity_limits(True)
        solver.add_regularization_task(1e-6)
        here = model.get_T_world_frame(robot["tip"])
        if task == "pose":
            frame = solver.add_frame_task(robot["tip"], here)
            frame.configure("tip", "soft", 1.0, 1.0)

            def aim(target):
                frame.T_world_frame = target
        else:
            position = solver.add_position_task(robot["tip"], here[:3, 3])
            position.configure("position", "soft", 1.0)
            axis = solver.add_axisalign_task(robot["tip"], np.array([0.0, 0.0, 1.0]), here[:3, 2])
            axis.configure("axis", "soft", 1.0)

            def aim(target):
                position.target_world = target[:3, 3]
                axis.targetAxis_world = target[:3, 2]

        # Where the joints' positions stand in the state, after the free base.
        slots = [model.get_joint_offset(joint) for joint in robot["joints"]]

        def tick(target):
            aim(target)
            solver.solve(True)
            model.update_kinematics()
            return model.state.q[slots]

        return tick

    report.track(
        f"placo {version('placo')}",
        "soft task 1, regularisation 1e-6, position and velocity limits, no posture",
        make_tracker,
    )


TOOLS = {
    "roboticstoolbox": with_roboticstoolbox,
    "pinocchio": with_pinocchio,
    "pinocchio-cpp": with_pinocchio_cpp,
    "pink": with_pink,
    "mink": with_mink,
    "placo": with_placo,
}


def main():
    tool, job, answers = sys.argv[1:]
    report = Report(json.loads(pathlib.Path(job).read_text()))
    TOOLS[tool](report)
    pathlib.Path(answers).write_text(json.dumps(report.answers))


if __name__ == "__main__":
    main()
